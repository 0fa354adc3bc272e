-- What alerts quote goes when the comments' own words go; an alert keeps its figures.

ALTER TABLE alerts MODIFY COLUMN examples String TTL toDateTime(received_at) + INTERVAL 90 DAY;
