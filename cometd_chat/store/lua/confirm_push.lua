-- ARGV: 4 push  5 at  6 '1' when it was opened
return once(function()
  local text = call('HGET', of('sent'), ARGV[4])
  if not text then return {'no'} end
  local facts = cjson.decode(text)
  if facts[5] == '' then facts[5] = ARGV[5] end
  if ARGV[6] == '1' and facts[6] == '' then facts[6] = ARGV[5] end
  call('HSET', of('sent'), ARGV[4], cjson.encode(facts))
  return {'ok'}
end)
