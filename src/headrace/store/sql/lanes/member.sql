-- A session lock of its own for each worker of lanes: the server lets go of it when it is gone.
SELECT nextval('lane_member')::integer AS id
