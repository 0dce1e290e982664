# Three consumers of a topic with six partitions start one after the other. With the initial delay they end up in one
# generation; the leader is whoever came first, and it alone sees the others.
set delay=3s
join a
after 1s
join b
after 1s
join c
after 6s
> a: joined 1 range as a.1 leader of [a.1 b.1 c.1]
> b: joined 1 range as b.1 follower of a.1
> c: joined 1 range as c.1 follower of a.1

# Followers ask first, and wait for the leader.
sync b
sync c
sync a a=0,1 b=2,3 c=4,5
> + group g 1 range leader=a.1 a.1=0,1 b.1=2,3 c.1=4,5
> a: assigned 0,1
> b: assigned 2,3
> c: assigned 4,5

# From now on heartbeats keep them, and each commits what it has read.
beat a
> a: ok
beat b
> b: ok
beat c
> c: ok
commit a t1:0=10 t1:1=11
> + offset g t1:0=10
> + offset g t1:1=11
> a: committed t1:0 t1:1
commit c t1:5=15
> + offset g t1:5=15
> c: committed t1:5
fetch all
> fetched t1:0=10 t1:1=11 t1:5=15
describe
> g is Stable consumer/range a.1=0,1 b.1=2,3 c.1=4,5
