-- ARGV: 4 client  5 until  6 acknowledged  7 '1' when the client may be a new one
return once(function()
  local f = call('HMGET', session, 'absent_since', 'until', 'acked', 'last')
  if not f[1] then return {'none'} end
  if ARGV[7] ~= '1' and not call('ZSCORE', of('r'), ARGV[4]) then return {'stranger'} end
  call('ZADD', of('r'), 'GT', ARGV[5], ARGV[4])
  local acked = math.max(tonumber(f[3]), math.min(tonumber(ARGV[6]), tonumber(f[4])))
  call('HSET', session, 'until', later(f[2], ARGV[5]), 'acked', whole(acked), 'base', '0')
  local number = '0'
  if f[1] ~= '' then
    call('HSET', session, 'absent_since', '', 'unheard', '', 'pushes', '0', 'lease', '0')
    -- Who vanishes without having read it has to be told after all.
    if drop_jobs(function(job) return job[SILENT] ~= '1' end) > 0 then
      local told = 0
      for _, facts in ipairs(call('HVALS', of('sent'))) do
        told = math.max(told, tonumber(cjson.decode(facts)[3]))
      end
      local announced = tonumber(call('HGET', session, 'announced'))
      call('HSET', session, 'announced', whole(math.min(announced, told)))
    end
    number = tell(ALTERED)
  end
  rank()
  return {'ok', number}
end)
