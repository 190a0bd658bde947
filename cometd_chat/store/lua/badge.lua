-- Return what this session adds to the badge; false for no session.
local f = call('HMGET', session, 'acked', 'base')
if not f[1] then return false end
local function unread(kind) return call('ZCOUNT', of(kind), '(' .. f[1], '+inf') end
return unread('n') - unread('q') + tonumber(f[2])
