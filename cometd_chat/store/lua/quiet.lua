-- Look at some sessions in a state; return where to go on, and those whose newest entry
-- is old. What of them cannot be read is returned, too: who asks tells of it.
-- ARGV: 4 state  5 where to go on  6 about how many  7 before
local place, members = unpack(call('ZSCAN', base .. 'in:' .. ARGV[4], ARGV[5], 'COUNT', ARGV[6]))
local before, found = tonumber(ARGV[7]), {}
local function old(at) return not (at and at >= before) end

for i = 1, #members, 2 do
  local key = base .. 's:' .. members[i]
  -- One fact first: nearly all are passed over by it.
  if old(tonumber(call('HGET', key, 'last_at') or '')) then
    local f = call('HMGET', key, 'state', 'service', 'last', 'last_at', 'started_at')
    local read = f[2] and tonumber(f[4] or '') and tonumber(f[5] or '')
    local since = read and later(f[4], f[5]) or ''
    if f[1] == ARGV[4] and old(tonumber(since)) then
      found[#found + 1] = {members[i], f[2] or '', f[3] or '', since}
    end
  end
end
return {place, found}
