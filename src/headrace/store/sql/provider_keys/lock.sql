-- Nobody seals a key meanwhile, and nobody else rotates; keys are read all the same.
LOCK TABLE provider_key IN SHARE ROW EXCLUSIVE MODE
