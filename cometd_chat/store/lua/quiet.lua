-- Look at some sessions in a state; return where to go on, and those whose newest entry
-- is old. What of them cannot be read is returned, too: who asks tells of it.
-- ARGV: 4 state  5 where to go on  6 about how many  7 before
local place, members = unpack(call('ZSCAN', base .. 'in:' .. ARGV[4], ARGV[5], 'COUNT', ARGV[6]))
local before, found = tonumber(ARGV[7]), {}
for i = 1, #members, 2 do
  local f = call('HMGET', base .. 's:' .. members[i], 'state', 'service', 'last', 'last_at', 'started_at')
  local said, start = tonumber(f[4] or ''), tonumber(f[5] or '')
  local since = f[2] and said and start and later(f[4], f[5])
  if f[1] == ARGV[4] and not (since and tonumber(since) >= before) then
    found[#found + 1] = {members[i], f[2] or '', f[3] or '', since or ''}
  end
end
return {place, found}
