# A consumer with group.instance.id restarts within its session (KIP-345). Nobody else notices.
set delay=1s
join a
join b instance=box
after 2s
> a: joined 1 range as a.1 leader of [a.1 box.1@box]
> b: joined 1 range as box.1 follower of a.1
sync a a=0,1 b=2,3
> + group g 1 range leader=a.1 a.1=0,1 box.1=2,3
> a: assigned 0,1
sync b
> b: assigned 2,3

# The new process has no member id. It gets a new one, recorded before it is answered, and its old assignment.
after 5s
join b fresh
> + group g 1 range leader=a.1 a.1=0,1 box.2=2,3
> b: joined 1 range as box.2 follower of a.1
sync b
> b: assigned 2,3
beat a
> a: ok
commit b t1:2=7
> + offset g t1:2=7
> b: committed t1:2

# Two processes with one instance id: the later one wins, the earlier one is told to stop.
join c instance=box
> + group g 1 range leader=a.1 a.1=0,1 box.3=2,3
> c: joined 1 range as box.3 follower of a.1
beat b
> b: FENCED_INSTANCE_ID
commit b t1:2=8
> b: committed t1:2!FENCED_INSTANCE_ID
sync c
> c: assigned 2,3

# When it does not come back, its partitions wait for the session to end.
after 9s
beat a
> a: ok
after 1s
beat a
> a: REBALANCE_IN_PROGRESS
join a
> a: joined 2 range as a.1 leader of [a.1]
sync a a=0,1,2,3
> + group g 2 range leader=a.1 a.1=0,1,2,3
> a: assigned 0,1,2,3
