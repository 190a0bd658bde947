-- ARGV: 4 position
return once(function()
  local f = call('HMGET', session, 'acked', 'last')
  if not f[1] then return {'none'} end
  local acked = math.max(tonumber(f[1]), math.min(tonumber(ARGV[4]), tonumber(f[2])))
  call('HSET', session, 'acked', whole(acked))
  hear()
  rank()
  return {'ok'}
end)
