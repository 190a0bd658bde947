-- KEYS: 1 the partition of the key   ARGV: 3 session  4 the customer's key
local name = base .. 'key:' .. ARGV[4]
if call('GET', name) == sid then call('DEL', name) end
return 1
