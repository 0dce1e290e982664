# The leader has the roster but dies before it assigns. The others must not wait for ever.
set delay=1s
join a
join b
join c
after 4s
> a: joined 1 range as a.1 leader of [a.1 b.1 c.1]
> b: joined 1 range as b.1 follower of a.1
> c: joined 1 range as c.1 follower of a.1
sync b
sync c

# Nothing was recorded, so after a restart this generation would never have been. Here a's session ends first.
after 10s
> b: REBALANCE_IN_PROGRESS
> c: REBALANCE_IN_PROGRESS
join b
join c
> b: joined 2 range as b.1 leader of [b.1 c.1]
> c: joined 2 range as c.1 follower of b.1
sync c
sync b b=0,1,2 c=3,4,5
> + group g 2 range leader=b.1 b.1=0,1,2 c.1=3,4,5
> b: assigned 0,1,2
> c: assigned 3,4,5
describe
> g is Stable consumer/range b.1=0,1,2 c.1=3,4,5

# The old leader comes back too late.
sync a a=0,1,2,3,4,5
> a: UNKNOWN_MEMBER_ID
join a
> a: UNKNOWN_MEMBER_ID as a.1
join a fresh
