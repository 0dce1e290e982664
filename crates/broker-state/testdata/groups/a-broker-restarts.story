# The broker is killed while two consumers work and a third one is joining.
set delay=1s
join a
join b
after 2s
> a: joined 1 range as a.1 leader of [a.1 b.1]
> b: joined 1 range as b.1 follower of a.1
sync a a=0,1 b=2,3
> + group g 1 range leader=a.1 a.1=0,1 b.1=2,3
> a: assigned 0,1
sync b
> b: assigned 2,3
commit a t1:0=10
> + offset g t1:0=10
> a: committed t1:0
join c
beat a
> a: REBALANCE_IN_PROGRESS
join a
restart

# The rebalance is forgotten; what was recorded is there, and sessions start afresh.
describe
> g is Stable consumer/range a.1=0,1 b.1=2,3
fetch t1:0
> fetched t1:0=10
beat a
> a: ok
beat b
> b: ok
commit b t1:2=20
> + offset g t1:2=20
> b: committed t1:2

# c was told an id that nobody remembers; it starts over, and the rebalance takes place now.
join c
> c: UNKNOWN_MEMBER_ID as c.1
join c fresh
beat a
> a: REBALANCE_IN_PROGRESS
beat b
> b: REBALANCE_IN_PROGRESS
join a
join b
> a: joined 2 range as a.1 leader of [a.1 b.1 c.3]
> b: joined 2 range as b.1 follower of a.1
> c: joined 2 range as c.3 follower of a.1
sync b
sync c
sync a a=0,1 b=2 c=3
> + group g 2 range leader=a.1 a.1=0,1 b.1=2 c.3=3
> a: assigned 0,1
> b: assigned 2
> c: assigned 3
