-- ARGV: 4 the lease  5 position  6 ... eight values of each job
return once(function()
  local f = call('HMGET', session, 'lease', 'announced', 'last')
  if not f[1] or tonumber(f[1]) ~= tonumber(ARGV[4]) then return {'no'} end
  local announced = math.max(tonumber(f[2]), math.min(tonumber(ARGV[5]), tonumber(f[3])))
  call('HSET', session, 'announced', whole(announced), 'lease', '0')
  call('HINCRBY', session, 'pushes', 1)
  hear()
  queue_jobs(6)
  rank()
  return {'ok'}
end)
