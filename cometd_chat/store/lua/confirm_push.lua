-- ARGV: 4 push  5 at  6 '1' when it was opened
return once(function()
  local sent = to_sent(call('HGET', of('sent'), ARGV[4]))
  if not sent then return {'no'} end
  if sent[5] == '' then sent[5] = ARGV[5] end
  if ARGV[6] == '1' and sent[6] == '' then sent[6] = ARGV[5] end
  call('HSET', of('sent'), ARGV[4], cjson.encode(sent))
  return {'ok'}
end)
