# A consumer stalls (a long pause, a slow batch) and misses a rebalance. What it commits afterwards must not count.
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
commit b t1:2=10
> + offset g t1:2=10
> b: committed t1:2

# b is silent for longer than its session.
after 5s
beat a
> a: ok
after 5s
beat a
> a: REBALANCE_IN_PROGRESS
join a
> a: joined 2 range as a.1 leader of [a.1]
sync a a=0,1,2,3
> + group g 2 range leader=a.1 a.1=0,1,2,3
> a: assigned 0,1,2,3
commit a t1:2=50
> + offset g t1:2=50
> a: committed t1:2

# b wakes up and commits its old work.
commit b t1:2=11
> b: committed t1:2!UNKNOWN_MEMBER_ID
beat b
> b: UNKNOWN_MEMBER_ID
fetch t1:2
> fetched t1:2=50

# A member that is still in the group, but a generation behind, is refused as well.
join b fresh
beat a
> a: REBALANCE_IN_PROGRESS
join a
> a: joined 3 range as a.1 leader of [a.1 b.2]
> b: joined 3 range as b.2 follower of a.1
sync b
sync a a=0,1 b=2,3
> + group g 3 range leader=a.1 a.1=0,1 b.2=2,3
> a: assigned 0,1
> b: assigned 2,3
commit a t1:0=1 generation=2
> a: committed t1:0!ILLEGAL_GENERATION
commit a t1:0=1
> + offset g t1:0=1
> a: committed t1:0
