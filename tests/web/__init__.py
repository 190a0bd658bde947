"""The transports over real sockets: HTTP long-polling, JSONP, WebSocket."""
