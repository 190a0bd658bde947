-- ARGV: 4 the lease  5 position  6 ... eight values of each job
return once_known(function(f)
  if tonumber(f.lease) ~= tonumber(ARGV[4]) then return {'no'} end
  local told = math.min(tonumber(ARGV[5]), tonumber(f.last))
  local announced = math.max(tonumber(f.announced), told)
  call('HSET', session, 'announced', whole(announced), 'lease', '0')
  call('HINCRBY', session, 'pushes', 1)
  hear()
  queue_jobs(6)
  rank()
  return {'ok'}
end)
