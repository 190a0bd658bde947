-- Return 2 when the key is the session's from now on, 1 when it was already, else 0.
-- KEYS: 1 the partition of the key   ARGV: 3 session  4 the customer's key
local name = base .. 'key:' .. ARGV[4]
if call('SET', name, sid, 'NX') then return 2 end
return call('GET', name) == sid and 1 or 0
