-- Keep a new session; return how many new ones the partition has.
-- ARGV: 4 ... fields and values of the session
return once(function()
  if call('EXISTS', session) == 1 then return {'exists'} end
  call('HSET', session, 'epoch', epoch(), unpack(ARGV, 4))
  enlist()
  rank()
  return {'ok', tell(ALTERED), call('ZCARD', base .. 'new')}
end)
