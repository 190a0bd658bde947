-- ARGV: 4 now  5 end of the lease
return once(function()
  local f = facts()
  if not f then return set_aside('badged') end
  if f.badged ~= '1' or tonumber(f.acked) < tonumber(f.notable) then return {'no'} end
  if tonumber(f.badge_lease) > tonumber(ARGV[4]) then return {'no'} end
  call('HSET', session, 'badge_lease', ARGV[5])
  rank()
  return {'ok'}
end, everything)
