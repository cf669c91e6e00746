"""The processes that measure: started, talked to, given turns, and surely ended."""
