-- Whether an index of this name is whole; false: its build was cut short; no row: there is none.
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(quote_ident($1))
