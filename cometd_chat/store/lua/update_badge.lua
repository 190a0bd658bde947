-- ARGV: 4 the lease  5 ... eight values of each job
return once(function()
  local f = call('HMGET', session, 'badged', 'acked', 'notable', 'badge_lease')
  if f[1] ~= '1' or tonumber(f[2]) < tonumber(f[3]) then return {'no'} end
  if tonumber(f[4]) ~= tonumber(ARGV[4]) then return {'no'} end
  call('HSET', session, 'badged', '0', 'badge_lease', '0')
  queue_jobs(5)
  rank()
  return {'ok'}
end)
