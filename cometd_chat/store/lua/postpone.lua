-- ARGV: 4 the lease  5 until
return once(function()
  local lease = call('HGET', session, 'lease')
  if not lease or tonumber(lease) ~= tonumber(ARGV[4]) then return {'no'} end
  call('HSET', session, 'lease', ARGV[5])
  rank()
  return {'ok'}
end)
