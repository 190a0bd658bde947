-- ARGV: 4 the lease  5 until
return once_known(function(f)
  if tonumber(f.lease) ~= tonumber(ARGV[4]) then return {'no'} end
  call('HSET', session, 'lease', ARGV[5])
  rank()
  return {'ok'}
end)
