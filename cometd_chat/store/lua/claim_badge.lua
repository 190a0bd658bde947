-- ARGV: 4 now  5 end of the lease
return once(function()
  if damaged() then return set_aside('badged') end
  local f = call('HMGET', session, 'badged', 'acked', 'notable', 'badge_lease')
  if f[1] ~= '1' or tonumber(f[2]) < tonumber(f[3]) then return {'no'} end
  if tonumber(f[4]) > tonumber(ARGV[4]) then return {'no'} end
  call('HSET', session, 'badge_lease', ARGV[5])
  rank()
  return {'ok'}
end, everything)
