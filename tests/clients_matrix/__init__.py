"""What the clients of others do beside hearing a chat: news, batches, going on."""
