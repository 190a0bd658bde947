-- Delete jobs of the whole partition that nobody needs any more; return how many.
-- ARGV: 4 now  5 most
return once(function()
  local late = call('ZRANGEBYSCORE', base .. 'expiry', '-inf', ARGV[4], 'LIMIT', 0, ARGV[5])
  for _, member in ipairs(late) do
    local id, owner = string.match(member, '^%d+%z(.-)%z(.*)$')
    sid = owner
    local job = to_job(call('HGET', of('j'), id))
    if job then
      drop_job(id, job)
    else
      forget_job(id)
      call('ZREM', base .. 'expiry', member)
    end
  end
  return {'ok', #late}
end)
