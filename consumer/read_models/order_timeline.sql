SELECT order_id,
       version,
       event_id,
       event_source,
       event_type,
       occurred_at,
       data
FROM projector.processed_events
