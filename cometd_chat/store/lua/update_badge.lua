-- ARGV: 4 the lease  5 ... eight values of each job
return once_known(function(f)
  if f.badged ~= '1' or tonumber(f.acked) < tonumber(f.notable) then return {'no'} end
  if tonumber(f.badge_lease) ~= tonumber(ARGV[4]) then return {'no'} end
  call('HSET', session, 'badged', '0', 'badge_lease', '0')
  queue_jobs(5)
  rank()
  return {'ok'}
end)
