-- ARGV: 4 position
return once_known(function(f)
  local acked = math.max(tonumber(f.acked), math.min(tonumber(ARGV[4]), tonumber(f.last)))
  call('HSET', session, 'acked', whole(acked))
  hear()
  rank()
  return {'ok'}
end)
