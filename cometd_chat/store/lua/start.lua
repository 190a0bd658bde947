-- Begin to use the partition; return the number of its newest change.
epoch()
return call('HGET', partition, 'sequence') or '0'
