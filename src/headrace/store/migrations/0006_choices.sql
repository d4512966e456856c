-- Where an item is among the models of its stage, and which model made what. Only columns that
-- may be null: the release before goes on beside it.
ALTER TABLE item
    ADD COLUMN course json,
    ADD COLUMN made json;
