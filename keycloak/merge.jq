# jq -s -f merge.jq cloudcomputing-realm.json demo-users.json: the realm with the demo laid over it.
# Clients are matched by clientId; whatever else the demo names replaces the realm's or joins it.
.[0] as $realm | .[1] as $demo
| $realm * ($demo | del(.clients))
| .clients = [$realm.clients[] as $c | $c * (first($demo.clients[]? | select(.clientId == $c.clientId)) // {})]
