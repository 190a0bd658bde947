-- ARGV: 4 count  5 at
return once_known(function()
  local at = tonumber(call('HGET', session, 'base_at'))
  if not at then return {'damaged'} end
  if tonumber(ARGV[5]) >= at then
    call('HSET', session, 'base', ARGV[4], 'base_at', ARGV[5])
  end
  return {'ok'}
end)
