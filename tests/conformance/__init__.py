"""What a Bayeux server must do, as data, and what runs it against servers."""
