-- An attempt begins when its claim has found it, not when the claim's transaction began: that may be before another job of its
-- concurrency key had ended, and then the two seemed to run at once.
ALTER TABLE attempts ALTER started_at SET DEFAULT clock_timestamp();
