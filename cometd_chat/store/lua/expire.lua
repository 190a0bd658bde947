-- ARGV: 4 now
return once(function()
  local f = facts()
  if not f then return set_aside('present') end
  if not awaited(f.state, f.acked, f.notable) or f.absent_since ~= '' then return {'no'} end
  if f.till == '' or tonumber(f.till) > tonumber(ARGV[4]) then return {'no'} end
  call('HSET', session, 'absent_since', ARGV[4])
  hear()
  rank()
  return {'ok', tell(ALTERED)}
end, everything)
