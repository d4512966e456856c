-- The guards look after batches that were cancelled as well, until their last item has ended.
CREATE INDEX batch_finalizing ON batch (id) WHERE state = 'finalizing';
