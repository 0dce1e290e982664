# A consumer closes: the others learn of it with their next heartbeat and share its partitions.
set delay=1s
join a
join b
join c
after 4s
> a: joined 1 range as a.1 leader of [a.1 b.1 c.1]
> b: joined 1 range as b.1 follower of a.1
> c: joined 1 range as c.1 follower of a.1
sync a a=0,1 b=2,3 c=4,5
> + group g 1 range leader=a.1 a.1=0,1 b.1=2,3 c.1=4,5
> a: assigned 0,1
sync b
> b: assigned 2,3
sync c
> c: assigned 4,5

commit b t1:2=20 t1:3=30
> + offset g t1:2=20
> + offset g t1:3=30
> b: committed t1:2 t1:3
leave b
> b: left b.1
beat a
> a: REBALANCE_IN_PROGRESS
beat c
> c: REBALANCE_IN_PROGRESS

# Until everyone is back they may still commit for the generation that ends.
commit a t1:0=5
> + offset g t1:0=5
> a: committed t1:0
join c
join a
> a: joined 2 range as a.1 leader of [a.1 c.1]
> c: joined 2 range as c.1 follower of a.1
sync c
sync a a=0,1,2 c=3,4,5
> + group g 2 range leader=a.1 a.1=0,1,2 c.1=3,4,5
> a: assigned 0,1,2
> c: assigned 3,4,5

# The new owners go on where b had been.
fetch t1:2 t1:3
> fetched t1:2=20 t1:3=30

# b itself is a stranger now.
beat b
> b: UNKNOWN_MEMBER_ID
commit b t1:2=21
> b: committed t1:2!UNKNOWN_MEMBER_ID
