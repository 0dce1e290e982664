# Cooperative members keep what they own while they rebalance; moving a partition takes two generations.
join a protocols=cooperative-sticky
> a: joined 1 cooperative-sticky as a.1 leader of [a.1]
sync a a=0,1,2,3
> + group g 1 cooperative-sticky leader=a.1 a.1=0,1,2,3
> a: assigned 0,1,2,3

# b arrives. a goes on reading while it rejoins, and is told to give up 2 and 3; b gets nothing yet.
join b protocols=cooperative-sticky
beat a
> a: REBALANCE_IN_PROGRESS
commit a t1:2=100 t1:3=100
> + offset g t1:2=100
> + offset g t1:3=100
> a: committed t1:2 t1:3
join a protocols=cooperative-sticky
> a: joined 2 cooperative-sticky as a.1 leader of [a.1 b.1]
> b: joined 2 cooperative-sticky as b.1 follower of a.1
sync b
sync a a=0,1
> + group g 2 cooperative-sticky leader=a.1 a.1=0,1 b.1=none
> a: assigned 0,1
> b: assigned none

# a has revoked and rejoins for the second half, in which b gets them.
join a protocols=cooperative-sticky
beat b
> b: REBALANCE_IN_PROGRESS
join b protocols=cooperative-sticky
> a: joined 3 cooperative-sticky as a.1 leader of [a.1 b.1]
> b: joined 3 cooperative-sticky as b.1 follower of a.1
sync a a=0,1 b=2,3
> + group g 3 cooperative-sticky leader=a.1 a.1=0,1 b.1=2,3
> a: assigned 0,1
sync b
> b: assigned 2,3
fetch t1:2 t1:3
> fetched t1:2=100 t1:3=100
