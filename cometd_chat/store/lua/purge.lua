-- Forget the session, if it is still old enough; return what else has to be undone.
-- ARGV: 4 created before, if it is new  5 ended before
local facts, readers = {}, {}
return once(function()
  -- By its place in the lists, which also one that is damaged has.
  local created, ended = call('ZSCORE', base .. 'new', sid), call('ZSCORE', base .. 'over', sid)
  local old = (created and tonumber(created) < tonumber(ARGV[4]))
    or (ended and tonumber(ended) < tonumber(ARGV[5]))
  if not old then return {'no'} end
  facts, readers = call('HGETALL', session), call('ZRANGE', of('r'), 0, -1)
  drop_jobs(function() return true end)
  local service = call('HGET', session, 'service') or ''
  call('HSET', session, 'service', service, 'state', '')
  enlist()
  await(service)
  call('DEL', session, of('e'), of('n'), of('q'), of('o'), of('r'), of('j'), of('b'), of('sent'))
  return {'ok', tell(ALTERED)}
end, function() return {facts, readers} end)
