-- ARGV: 4 count  5 at
return once(function()
  local at = call('HGET', session, 'base_at')
  if not at then return {'none'} end
  if tonumber(ARGV[5]) >= tonumber(at) then
    call('HSET', session, 'base', ARGV[4], 'base_at', ARGV[5])
  end
  return {'ok'}
end)
