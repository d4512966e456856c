-- Hold a schedule until commit: it is not removed while its batch is being written.
SELECT id FROM schedule WHERE id = $1 FOR KEY SHARE
