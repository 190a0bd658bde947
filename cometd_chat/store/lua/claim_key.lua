-- Return 2 when the key is the session's from now on, 1 when it was already, else 0.
-- KEYS: 1 the partition of the key   ARGV: 3 session  4 the customer's key
local name = base .. 'key:' .. ARGV[4]
local holder = call('GET', name)
if holder and holder ~= sid then return 0 end
call('SET', name, sid) -- also again, as in `once`
return holder and 1 or 2
