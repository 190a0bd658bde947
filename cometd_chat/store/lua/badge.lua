-- Return what this session adds to the badge; false for none, or one that is damaged.
local f = call('HMGET', session, 'acked', 'base')
if not sound(f, 2, 0) then return false end
local function unread(kind) return call('ZCOUNT', of(kind), '(' .. f[1], '+inf') end
return unread('n') - unread('q') + tonumber(f[2])
