SELECT sums.customer_id,
       sums.currency,
       newest.customer_name,
       sums.orders,
       sums.open_orders,
       sums.delivered_orders,
       sums.cancelled_orders,
       sums.revenue,
       newest.placed_at AS last_order_at
FROM (
    SELECT customer_id,
           currency,
           sum(orders)::bigint AS orders,
           sum(open_orders)::bigint AS open_orders,
           sum(delivered_orders)::bigint AS delivered_orders,
           sum(cancelled_orders)::bigint AS cancelled_orders,
           sum(revenue) AS revenue
    FROM projector.customer_summary
    GROUP BY customer_id, currency
    HAVING sum(orders) <> 0
) AS sums
-- Not a sum, so not in the table: the order that was placed last says the name. One probe of
-- orders_customer_idx; exact after an erasure too, when it is another order's turn.
CROSS JOIN LATERAL (
    SELECT o.customer_name, o.placed_at
    FROM projector.orders AS o
    WHERE o.customer_id = sums.customer_id
      AND o.currency = sums.currency
      AND o.placed_at IS NOT NULL
    ORDER BY o.placed_at DESC, o.order_id DESC
    LIMIT 1
) AS newest
