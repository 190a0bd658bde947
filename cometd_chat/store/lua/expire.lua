-- ARGV: 4 now
return once(function()
  if damaged() then return set_aside('present') end
  local f = call('HMGET', session, 'state', 'absent_since', 'until', 'acked', 'notable')
  if not awaited(f[1], f[4], f[5]) or f[2] ~= '' or f[3] == '' then return {'no'} end
  if tonumber(f[3]) > tonumber(ARGV[4]) then return {'no'} end
  call('HSET', session, 'absent_since', ARGV[4])
  hear()
  rank()
  return {'ok', tell(ALTERED)}
end, everything)
