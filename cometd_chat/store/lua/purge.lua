-- Forget the session, if it is still old enough; return what else has to be undone.
-- ARGV: 4 created before, if it is new  5 ended before
return once(function()
  local f = call('HMGET', session, 'state', 'created_at', 'ended_at', 'service')
  local old = (f[1] == 'new' and tonumber(f[2]) < tonumber(ARGV[4]))
    or (f[1] == 'ended' and tonumber(f[3]) < tonumber(ARGV[5]))
  if not old then return {'no'} end
  local facts, readers = call('HGETALL', session), call('ZRANGE', of('r'), 0, -1)
  drop_jobs(function() return true end)
  call('HSET', session, 'state', '', 'unheard', '', 'badged', '0')
  enlist()
  rank()
  call('DEL', session, of('e'), of('n'), of('q'), of('o'), of('r'), of('j'), of('b'), of('sent'))
  return {'ok', tell(ALTERED), facts, readers}
end)
