-- Give the device to the session; return its new number and the sessions that lose it.
-- KEYS: 1 the partition of the device   ARGV: 3 the session that takes it, in whatever
--       partition  4 device  5 owner  6 '1' to take it only from nobody
--       7 the newest number that the session knows, 0 for none
--
-- Numbers only grow, also when the record was deleted meanwhile: they are those of the
-- clock; where it went back, whoever takes the device knows what it had come to.
return once(function()
  local record = base .. 'device:' .. ARGV[4]
  local f = call('HMGET', record, 'owner', 'number')
  if ARGV[6] == '1' and f[1] and call('HEXISTS', record, 's:' .. sid) == 0 then
    return {'no', f[2]}
  end
  local losers = {}
  if f[1] and f[1] ~= ARGV[5] then
    for _, field in ipairs(call('HKEYS', record)) do
      local holder = string.match(field, '^s:(.*)$')
      if holder and holder ~= sid then losers[#losers + 1] = holder end
    end
    call('DEL', record)
  end
  local t = call('TIME')
  local newest = math.max(tonumber(f[2] or '0'), tonumber(ARGV[7]))
  local number = whole(math.max(t[1] * 1000000 + t[2], newest + 1))
  call('HSET', record, 'owner', ARGV[5], 'number', number, 's:' .. sid, number)
  return {'ok', number, losers}
end)
