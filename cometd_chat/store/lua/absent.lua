-- ARGV: 4 client  5 at  6 acknowledged  7 the customer's own word, '' for none
return once_known(function(f)
  call('ZADD', of('r'), 'XX', 'LT', ARGV[5], ARGV[4])
  local longest = call('ZREVRANGE', of('r'), 0, 0, 'WITHSCORES')[2] or ''
  local last, acked = tonumber(f.last), tonumber(f.acked)
  if ARGV[7] ~= '' then
    acked = math.max(0, math.min(tonumber(ARGV[7]), last))
  else
    acked = math.max(acked, math.min(tonumber(ARGV[6]), last))
  end
  call('HSET', session, 'until', longest, 'acked', whole(acked))
  local others = longest ~= '' and tonumber(longest) > tonumber(ARGV[5])
  local number = '0'
  if awaited(f.state, acked, f.notable) and f.absent_since == '' and not others then
    call('HSET', session, 'absent_since', ARGV[5])
    number = tell(ALTERED)
  end
  hear()
  rank()
  return {'ok', number}
end)
