-- ARGV: 4 client  5 until  6 acknowledged  7 '1' when the client may be a new one
return once_known(function(f)
  if ARGV[7] ~= '1' and not call('ZSCORE', of('r'), ARGV[4]) then return {'stranger'} end
  call('ZADD', of('r'), 'GT', ARGV[5], ARGV[4])
  local acked = math.max(tonumber(f.acked), math.min(tonumber(ARGV[6]), tonumber(f.last)))
  call('HSET', session, 'until', later(f.till, ARGV[5]), 'acked', whole(acked), 'base', '0')
  local number = '0'
  if f.absent_since ~= '' then
    call('HSET', session, 'absent_since', '', 'unheard', '', 'pushes', '0', 'lease', '0')
    -- Who vanishes without having read it has to be told after all.
    if drop_jobs(function(job) return job[SILENT] ~= '1' end) > 0 then
      local told = 0
      for _, text in ipairs(call('HVALS', of('sent'))) do
        local sent = to_sent(text)
        if sent then told = math.max(told, tonumber(sent[3])) end
      end
      call('HSET', session, 'announced', whole(math.min(tonumber(f.announced), told)))
    end
    number = tell(ALTERED)
  end
  rank()
  return {'ok', number}
end)
