"""The dialect `bayeux`: Bayeux 1.0, the protocol of CometD and faye."""
